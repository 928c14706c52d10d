-- Writes a schedule if its version is as expected.
-- KEYS: 1 schedules (hash), 2 versions (hash)
-- ARGV: name, body, what is expected: 'any', 'absent' or a version
-- Returns the new version, or 0.
local version = redis.call('HGET', KEYS[2], ARGV[1])
if ARGV[3] == 'absent' and version then return 0 end
if ARGV[3] ~= 'any' and ARGV[3] ~= 'absent' and version ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return redis.call('HINCRBY', KEYS[2], ARGV[1], 1)
