-- Sends the requests of a plan file in turn and reports one line of JSON. The plan: `name: value` for each header, an
-- empty line, then `METHOD<tab>path<tab>body` for each request.
local requests = {}
local current = 0

function init(args)
  local pause = tonumber(args[2])
  -- From none to twice as long, so that the connections do not keep in step. Where there is none, wrk would do more for each request.
  if pause > 0 then
    delay = function() return math.random(0, 2 * pause) end
  end
  local headers = {}
  local lines = io.lines(args[1])
  for line in lines do
    if line == '' then break end
    local name, value = line:match('^(.-): (.*)$')
    headers[name] = value
  end
  for line in lines do
    local method, path, body = line:match('^(.-)\t(.-)\t(.*)$')
    requests[#requests + 1] = wrk.format(method, path, headers, body ~= '' and body or nil)
  end
end

function request()
  current = current % #requests + 1
  return requests[current]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"microseconds":%d,"p50":%d,"p95":%d,"p99":%d,"refused":%d,"broken":%d,"timedOut":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(95), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write, errors.timeout
  ))
end
