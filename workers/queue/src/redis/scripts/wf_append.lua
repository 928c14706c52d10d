-- Notes what happened to a workflow, each thing once.
-- KEYS: 1 definition, 2 events (list), 3 what has happened (set)
-- ARGV: pairs of what ('cancel' or the number of a node) and event
-- Returns the number of events, or -1 when the workflow has ended or is not known.
if redis.call('EXISTS', KEYS[1]) == 0 then return -1 end
for at = 1, #ARGV, 2 do
  if redis.call('SADD', KEYS[3], ARGV[at]) == 1 then redis.call('RPUSH', KEYS[2], ARGV[at + 1]) end
end
return redis.call('LLEN', KEYS[2])
