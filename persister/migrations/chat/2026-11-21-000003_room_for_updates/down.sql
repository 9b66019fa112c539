ALTER TABLE watermark RESET (fillfactor);
ALTER TABLE daily_counters RESET (fillfactor);
ALTER TABLE agent_states RESET (fillfactor);
ALTER TABLE marks RESET (fillfactor);
ALTER TABLE threads RESET (fillfactor);
