"""The store: schema, ledger, sessions, the scribe that writes, the vault and the keys."""
