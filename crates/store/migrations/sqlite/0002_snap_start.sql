-- Whether instances may be copies of an initialised one: 0 or 1.
ALTER TABLE versions ADD COLUMN snap_start INTEGER NOT NULL DEFAULT 0;
