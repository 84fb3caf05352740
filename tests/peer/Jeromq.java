// A detector or a worker on jeromq, ZeroMQ in Java: versions before 0.5 speak ZMTP 2.0.
//
//   java -cp /usr/share/java/jeromq.jar Jeromq.java push|pub URL    binds, sends one run of STINS, and stays
//   java -cp /usr/share/java/jeromq.jar Jeromq.java worker URL      pings, and prints the sizes of each message's parts

import java.nio.ByteBuffer;
import java.util.StringJoiner;
import java.util.UUID;
import org.zeromq.ZMQ;

public class Jeromq {
    public static void main(String[] arguments) throws Exception {
        ZMQ.Context context = ZMQ.context(1);
        if (arguments[0].equals("worker")) {
            work(context.socket(ZMQ.DEALER), arguments[1]);
        } else {
            send(context.socket(arguments[0].equals("pub") ? ZMQ.PUB : ZMQ.PUSH), arguments[1]);
        }
    }

    private static void send(ZMQ.Socket socket, String url) throws Exception {
        socket.bind(url);
        System.out.println("bound");
        // A PUB socket drops what nobody has subscribed to yet: the test says when to begin.
        System.in.read();
        socket.send("{\"htype\": \"header\", \"filename\": \"/data/x.h5\", \"msg_number\": 0}");
        socket.sendMore("{\"htype\": \"image\", \"frame\": 0, \"shape\": [1, 100000], \"type\": \"uint8\", "
            + "\"compression\": \"none\", \"msg_number\": 1}");
        socket.send(new byte[100000], 0);
        socket.send("{\"htype\": \"series_end\", \"msg_number\": 2}");
        System.in.read();
    }

    private static void work(ZMQ.Socket socket, String url) {
        UUID service = UUID.randomUUID();
        byte[] ping = ByteBuffer.allocate(16).putLong(service.getMostSignificantBits())
            .putLong(service.getLeastSignificantBits()).array();
        socket.setIdentity("w1".getBytes());
        socket.setReceiveTimeOut(500);
        socket.connect(url);
        while (true) {
            socket.send(ping, 0);
            byte[] part = socket.recv(0);
            if (part == null) {
                continue;
            }
            StringJoiner sizes = new StringJoiner(" ");
            while (socket.hasReceiveMore()) {
                sizes.add(Integer.toString(socket.recv(0).length));
            }
            System.out.println("parts: " + sizes);
        }
    }
}
