-- Records that a worker lives, and forgets the commands that it has.
-- KEYS: 1 reports (hash), 2 last seen (sorted set), 3 its commands (list); ARGV: worker, report, number of the last command it has
-- Returns the commands that it does not have: number, a blank, the command.
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], time[1] * 1000 + math.floor(time[2] / 1000), ARGV[1])
while true do
  local first = redis.call('LINDEX', KEYS[3], 0)
  if not first or tonumber(string.match(first, '^%d+')) > tonumber(ARGV[3]) then break end
  redis.call('LPOP', KEYS[3])
end
return redis.call('LRANGE', KEYS[3], 0, -1)
