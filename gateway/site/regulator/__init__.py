"""The regulator's console: everything in a division, from the whole down to one decision and its proof. Auditors read
it too."""
