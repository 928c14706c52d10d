-- Makes somebody the leader, or keeps it so.
-- KEYS: 1 owner, 2 token
-- ARGV: owner, ms
-- Returns the token, or 0 while somebody else leads.
local owner = redis.call('GET', KEYS[1])
if owner == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return tonumber(redis.call('GET', KEYS[2]) or redis.call('INCR', KEYS[2]))
end
if owner then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return redis.call('INCR', KEYS[2])
