import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Executors;

/** A web server on the JDK's own HTTP server, with a pool of threads. */
public final class HelloServer {
    private HelloServer() {
    }

    /** Serves port 8080 until the machine ends. */
    public static void main(String[] arguments) throws java.io.IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress(8080), 512);
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.createContext("/", exchange -> {
            byte[] body = "hello from java\n".getBytes(StandardCharsets.UTF_8);
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();
        System.out.println("listening");
    }
}
