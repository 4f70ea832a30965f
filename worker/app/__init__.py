"""The composition root: settings become clients, clients become roles, roles are supervised until told to stop."""
