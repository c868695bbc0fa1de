"""The authorization server. Nothing of it is imported before create_app() is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from config import Config


def create_app(config: Config) -> Flask:
    """One application, wired from its capabilities; each says for itself what is special about it."""
    from flask import Flask

    from app import (
        accounts,
        admin_api,
        attempts,
        audit,
        client_manager,
        clients,
        consent,
        demo,
        developers,
        errors,
        extensions,
        handover,
        headers,
        health,
        languages,
        logs,
        mail,
        members,
        oauth,
        operation,
        retries,
        revocations,
        row_level_security,
        signing,
        tenants,
        tokens,
        transport,
        words,
    )

    app = Flask(__name__, instance_path=config.INSTANCE_PATH)
    app.config.from_object(config)
    # A redirect to another spelling of an address would send credentials twice; there is one spelling.
    app.url_map.merge_slashes = False
    app.jinja_env.globals["product_name"] = config.PRODUCT_NAME

    extensions.init_app(app)
    retries.init_app(app)
    logs.init_app(app)
    errors.init_app(app)
    headers.init_app(app)
    tenants.init_app(app)
    transport.init_app(app)
    # Not before: a form that comes to nobody's host, or while the database is gone, must hear of that instead.
    extensions.csrf.init_app(app)
    app.register_blueprint(health.bp)
    languages.init_app(app)
    words.init_app(app)
    audit.init_app(app)
    revocations.init_app(app)
    attempts.init_app(app)
    mail.init_app(app)
    signing.init_app(app)
    accounts.init_app(app)
    clients.init_app(app)
    tokens.init_app(app)
    oauth.init_app(app)
    handover.init_app(app)
    consent.init_app(app)
    client_manager.init_app(app)
    admin_api.init_app(app)
    members.init_app(app)
    developers.init_app(app)
    operation.init_app(app, config.problems)
    row_level_security.init_app(app)
    demo.init_app(app)
    return app
