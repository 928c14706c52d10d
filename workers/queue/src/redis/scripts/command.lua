-- Leaves a command for a worker. Its number is the time in microseconds, so that numbers grow also after a flush.
-- KEYS: 1 reports (hash), 2 its commands (list); ARGV: worker, command, most that wait, ms to keep it
-- Returns 1, 0 when there is no such worker, -1 when too many wait.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
if redis.call('LLEN', KEYS[2]) >= tonumber(ARGV[3]) then return -1 end
local time = redis.call('TIME')
local number = string.format('%.0f', time[1] * 1000000 + time[2])
redis.call('RPUSH', KEYS[2], number .. ' ' .. ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return 1
