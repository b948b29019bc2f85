"""`linkstatus up`: everything on one machine, with an embedded broker."""
