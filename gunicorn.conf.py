"""How the server runs: workers, time limits, and what gunicorn may believe and log.

Read by ``gunicorn`` from the current folder without being named. What a
deployment sets comes from the environment (README.md): PORT,
WEB_CONCURRENCY, TRUSTED_PROXIES, LOG_LEVEL, LOG_FORMAT. Another address than
loopback is an argument: ``gunicorn --bind 0.0.0.0:8000``.
"""

from __future__ import annotations

import gc
import logging.config
import os
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gunicorn import glogging

from app import listening
from app.logs import logging_config
from config import Config, ConfigError

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter
    from gunicorn.workers.base import Worker

try:
    _config = Config.from_env(os.environ)
except ConfigError as error:
    sys.exit(f"keyporter: {error}")

# gunicorn reads the same variable, as a number, before it reads this file.
workers = int(os.environ.get("WEB_CONCURRENCY") or os.cpu_count() or 1)

wsgi_app = "wsgi:app"
bind = f"127.0.0.1:{_config.PORT}"
backlog = 2048
# Two masters of one user would share one socket, and a read-only container has no place for it.
control_socket_disable = True

# Threads for waiting on the database; a process for each core to compute on.
worker_class = "app.worker.TimedWorker"
threads = 4
# The code is loaded once, and a mistake in it stops the start instead of every worker.
preload_app = True
# The workers' heartbeat is a file: on a disk it would stall when the disk does.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
timeout = 30
graceful_timeout = 30
# Longer than a proxy keeps an idle connection (nginx: 60 s), so that the server never hangs up first.
keepalive = 75 if _config.TRUSTED_PROXIES else 5
max_requests = 20_000
max_requests_jitter = 4_000

# An authorization request may be long (state, scope); gunicorn's own default refuses it from 4094 bytes on.
limit_request_line = 8190
limit_request_fields = 64
limit_request_field_size = 8190

# Only ProxyFix, by TRUSTED_PROXIES, decides what a proxy may say about a request. On a Unix socket gunicorn
# would otherwise believe every X-Forwarded-Proto, and let a SCRIPT_NAME header move the whole server.
forwarded_allow_ips = ""
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""
header_map = "drop"

# The server writes its own line per request (app/logs.py). gunicorn's holds the query: codes, secrets.
accesslog = None
logconfig_dict = logging_config(_config.LOG_LEVEL, _config.LOG_FORMAT)


class _Logger(glogging.Logger):
    """gunicorn's own messages, without the parts of a request that may hold a secret."""

    #: Setting ``logconfig_dict`` turns the access log on, whatever ``accesslog`` says.
    access_log_enabled = False

    #: A refused request line or header is quoted in full, `Authorization` and all.
    _quoted_request = re.compile(r"(Invalid request from ip=[^'\"]*?)\s*['\"].*", re.DOTALL)

    def setup(self, cfg: Any) -> None:
        # Not gunicorn's own way: that merges in handlers of its own, which write every line twice.
        self.cfg = cfg
        logging.config.dictConfig(cfg.logconfig_dict)
        self.error_log.propagate = True

    def warning(self, msg: str, *args: object, **kwargs: Any) -> None:
        super().warning(self._quoted_request.sub(r"\1 (not shown)", msg), *args, **kwargs)

    def exception(self, msg: str, *args: object, **kwargs: Any) -> None:
        # "Error handling request %s %s", method, address
        super().exception(msg, *(str(arg).partition("?")[0] for arg in args), **kwargs)


logger_class = _Logger


def on_starting(server: Arbiter) -> None:
    """Say in one line that an address is taken; gunicorn tries five times and says it eleven times."""
    if "GUNICORN_FD" in os.environ or "LISTEN_FDS" in os.environ:
        return  # the sockets are handed over, open already
    for address in server.cfg.address:
        if not isinstance(address, tuple):
            continue
        problem = listening.find_problem(*address)
        if problem is not None:
            sys.exit(f"keyporter: {problem}")


def post_fork(server: Arbiter, worker: Worker) -> None:
    """Forget the master's database connections without closing them: they are not this process's."""
    from app.extensions import db
    from app.mail import sender
    from app.revocations.nudges import EXTENSION
    from app.tokens import janitor
    from app.usage import writer

    app = worker.app.wsgi()
    with app.app_context():
        for engine in db.engines.values():
            engine.dispose(close=False)
    # The other half answers everybody else.
    app.extensions[EXTENSION].holders.most = server.cfg.threads // 2
    janitor.start(app)
    sender.start(app)
    _stop_writing[os.getpid()] = writer.start(app)


#: What ends a worker's notes, by its process: the one that calls it is the one that set it.
_stop_writing: dict[int, Callable[[], None]] = {}


def worker_exit(server: Arbiter, worker: Worker) -> None:
    """Write what the worker has noted and not written yet."""
    stop = _stop_writing.pop(os.getpid(), None)
    if stop is not None:
        stop()


def when_ready(server: Arbiter) -> None:
    """Leave what is loaded out of every worker's garbage collection: it never goes, and its pages stay shared."""
    gc.freeze()
