-- A web server with one coroutine for each connection.
local socket = require("socket")

local server = assert(socket.bind("0.0.0.0", 8080, 128))
server:settimeout(0)
local clients, tasks = { server }, {}

local function serve(client)
  local line
  repeat
    local failure, partial
    line, failure, partial = client:receive("*l", partial)
    if failure == "timeout" then coroutine.yield() elseif failure then return end
  until line == ""
  local body = "hello from lua\n"
  client:send("HTTP/1.0 200 OK\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body)
end

while true do
  for _, ready in ipairs((socket.select(clients))) do
    if ready == server then
      local client = server:accept()
      if client then
        client:settimeout(0)
        table.insert(clients, client)
        tasks[client] = coroutine.create(serve)
      end
    else
      coroutine.resume(tasks[ready], ready)
      if coroutine.status(tasks[ready]) == "dead" then
        ready:close()
        tasks[ready] = nil
        for index, client in ipairs(clients) do
          if client == ready then table.remove(clients, index) end
        end
      end
    end
  end
end
