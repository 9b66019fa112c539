-- Rows that change again and again find room on their own page, so that no index has to change with them.
ALTER TABLE threads SET (fillfactor = 80);
ALTER TABLE marks SET (fillfactor = 70);
ALTER TABLE agent_states SET (fillfactor = 50);
ALTER TABLE daily_counters SET (fillfactor = 50);
ALTER TABLE watermark SET (fillfactor = 10);
