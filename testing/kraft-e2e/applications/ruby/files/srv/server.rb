# A web server (WEBrick), with threads and a child process behind two of its paths.
require "webrick"

server = WEBrick::HTTPServer.new(Port: 8080, BindAddress: "0.0.0.0", AccessLog: [], DoNotReverseLookup: true)
server.mount_proc("/") { |_, response| response.body = "hello from ruby\n" }
server.mount_proc("/threads") do |_, response|
  queue = Queue.new
  (1..10).map { |n| Thread.new { queue << n * n } }.each(&:join)
  response.body = "#{10.times.sum { queue.pop }}\n"
end
server.mount_proc("/child") do |_, response|
  reader, writer = IO.pipe
  pid = fork { writer.puts "from a child" }
  writer.close
  Process.wait(pid)
  response.body = reader.read
end
server.start
