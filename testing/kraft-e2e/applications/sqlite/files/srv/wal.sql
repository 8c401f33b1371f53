PRAGMA journal_mode = WAL;
UPDATE t SET b = 'changed' WHERE a > 1990;
SELECT count(*) FROM t WHERE b = 'changed';
PRAGMA wal_checkpoint;
