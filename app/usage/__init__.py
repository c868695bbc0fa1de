"""What was used, when and from where, and what went wrong: told to admins, never needed to answer a request."""
