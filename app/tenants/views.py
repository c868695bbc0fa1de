"""What every page of a tenant looks like: its colour and its logo.

The colour is a stylesheet of its own because the Content-Security-Policy allows
no style inside a page. Pages put the tenant's version into both addresses, so a
change shows at once although browsers may keep the answers.
"""

from __future__ import annotations

from flask import Blueprint, Response, abort, request

from app.tenants import colour, registry
from app.tenants.current import current_tenant

bp = Blueprint("tenants", __name__)

#: Seconds for which a browser may keep the look of a tenant.
_LOOK_MAX_AGE = 3600


@bp.get("/brand.css")
def brand_css() -> Response:
    return _kept_by_browsers(Response(colour.stylesheet(current_tenant.colour), mimetype="text/css"))


@bp.get("/logo.png")
def logo() -> Response:
    png = registry.find_logo(current_tenant.id)
    if png is None:
        abort(404)
    return _kept_by_browsers(Response(png, mimetype="image/png"))


def _kept_by_browsers(response: Response) -> Response:
    # Private: a cache that many share might forget that the answer differs by host.
    response.cache_control.private = True
    response.cache_control.max_age = _LOOK_MAX_AGE
    response.add_etag()
    response.make_conditional(request)
    return response
