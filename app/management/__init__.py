"""What may be done to API clients, the same for admins' pages and for programs: rules, audit events and mails.

No pages: those are in app/client_manager, and what programs call is in app/admin_api.
"""
