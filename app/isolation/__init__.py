"""No statement on a tenant's tables without its tenant: the guard on the engine, and row-level security behind it.

Belongs to the bottom: it knows SQLAlchemy and the metadata, and nothing of the
rest of the server. Which tenant a request belongs to is told to it by
app/tenants/current.py.
"""

from __future__ import annotations
