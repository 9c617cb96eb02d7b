"""The gate: what one message leads to, the sessions in memory, decisions explained and made again."""
