"""The WSGI entry point: ``gunicorn wsgi:app``; the ``flask`` command finds it too."""

import os
import sys

from app import create_app
from config import Config, ConfigError

try:
    app = create_app(Config.from_env(os.environ))
except ConfigError as error:
    sys.exit(f"keyporter: {error}")
