"""What every page of a tenant looks like: its colour and its logo.

The colour is a stylesheet of its own because the Content-Security-Policy allows
no style inside a page. Pages put the tenant's version into its address, and the
picture's own name into that of a logo, so a change shows at once although
browsers may keep the answers.
"""

from __future__ import annotations

from flask import Blueprint, Response, abort, request

from app import logos
from app.tenants import colour, registry
from app.tenants.current import current_tenant

bp = Blueprint("tenants", __name__)
bp.add_app_template_global(logos.fitted, "logo_size")
bp.add_app_template_global(logos.initial, "logo_initial")
bp.add_app_template_global(logos.shade, "logo_shade")

#: Seconds for which a browser may keep the look of a tenant.
_LOOK_MAX_AGE = 3600


@bp.get("/brand.css")
def brand_css() -> Response:
    return _kept_by_browsers(Response(colour.stylesheet(current_tenant.colour), mimetype="text/css"))


@bp.get("/logo/<string:name>.png")
def logo(name: str) -> Response:
    """A picture of this tenant, light or dark."""
    png = registry.find_logo(current_tenant.id, name)
    if png is None:
        abort(404)
    return picture(png)


def picture(png: bytes) -> Response:
    """The answer at an address that holds the name of ``png``: it is good for ever, and a picture whatever is in it."""
    response = Response(png, mimetype="image/png")
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    response.add_etag()
    response.make_conditional(request)
    return response


def _kept_by_browsers(response: Response) -> Response:
    # Private: a cache that many share might forget that the answer differs by host.
    response.cache_control.private = True
    response.cache_control.max_age = _LOOK_MAX_AGE
    response.add_etag()
    response.make_conditional(request)
    return response
