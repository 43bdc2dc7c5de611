-- Until which place of `calls` a source's records may lie: once all up to it are removed, the source can go. Found without a look at the records.
ALTER TABLE call_sources ADD COLUMN until INTEGER NOT NULL DEFAULT 0;
UPDATE call_sources SET until = (SELECT coalesce(max(id), 0) FROM calls);
CREATE INDEX call_sources_until ON call_sources (until);
