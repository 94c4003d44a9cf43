-- For wrk (`wrk ... -- DEPTH`): sends DEPTH requests at once, and prints one line for load.py:
-- RESULT requests microseconds errors.

local pipelined

function init(args)
  local depth = tonumber(args[1]) or 1
  if depth > 1 then
    pipelined = string.rep(wrk.format(), depth)
    -- Defined only now: with it wrk calls Lua for each send, and its own fixed request is cheaper.
    function request() return pipelined end
  end
end

function done(summary, _, _)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  print(string.format("RESULT %d %d %d", summary.requests, summary.duration, failed))
end
