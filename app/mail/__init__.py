"""Mails: kept until they are sent, by one worker of all, once."""
