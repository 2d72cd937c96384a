"""Getting readings to their targets: routing, queues, batches, retries, the spool, the ledger."""
