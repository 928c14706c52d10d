-- Adds to what is known of running jobs of one queue.
-- KEYS: 1-3 streams, then for each note what is known of its job (list: progress, then log lines)
-- ARGV: ms to keep it, lines to keep, then for each note: level, entry, whether all is wanted (0|1), progress or '',
--   how many lines, the lines
-- Returns for each note 0 when its entry is not pending any more, else 1, or the whole list if that is wanted.
local answers = {}
local at, key = 3, 4
local lines_max = tonumber(ARGV[2])
while at <= #ARGV do
  local list = KEYS[key]
  local pending = redis.pcall('XPENDING', KEYS[1 + ARGV[at]], 'workers', ARGV[at + 1], ARGV[at + 1], 1)
  local lines = tonumber(ARGV[at + 4])
  if pending.err or #pending == 0 then
    answers[#answers + 1] = 0
  else
    if redis.call('EXISTS', list) == 0 then redis.call('RPUSH', list, '') end
    if ARGV[at + 3] ~= '' then redis.call('LSET', list, 0, ARGV[at + 3]) end
    for line = 1, lines do redis.call('RPUSH', list, ARGV[at + 4 + line]) end
    if redis.call('LLEN', list) > lines_max + 1 then
      local progress = redis.call('LINDEX', list, 0)
      redis.call('LTRIM', list, -lines_max, -1)
      redis.call('LPUSH', list, progress)
    end
    redis.call('PEXPIRE', list, ARGV[1])
    if ARGV[at + 2] == '1' then answers[#answers + 1] = redis.call('LRANGE', list, 0, -1)
    else answers[#answers + 1] = 1 end
  end
  at = at + 5 + lines
  key = key + 1
end
return answers
