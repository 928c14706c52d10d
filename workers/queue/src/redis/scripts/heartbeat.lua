-- KEYS: 1 reports (hash), 2 last seen (sorted set); ARGV: worker, report
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], time[1] * 1000 + math.floor(time[2] / 1000), ARGV[1])
return 1
