"""Ways 6, 7 and 8: what is pushed to a broker, heard by an app on the node or elsewhere."""

import argparse
from pathlib import Path

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--broker", default="127.0.0.1:1883", metavar="HOST:PORT")
parser.add_argument("--ca", type=Path, help="speak TLS, and know the broker by this authority")
parser.add_argument("--user", help="with --password-file")
parser.add_argument("--password-file", type=Path)
parser.add_argument("--count", type=int, default=0, help="end after so many messages")
options = parser.parse_args()
left = options.count


def show(client: Client, _data: object, message: MQTTMessage) -> None:
    """Print a message; the last one ends the program."""
    global left
    print(message.topic, message.payload.decode(), flush=True)
    left -= 1
    if left == 0:
        client.disconnect()


client = Client(CallbackAPIVersion.VERSION2)
client.on_connect = lambda client, *_: client.subscribe("plant/#", qos=1)
client.on_message = show
if options.ca:
    client.tls_set(str(options.ca))
if options.user:
    client.username_pw_set(options.user, options.password_file.read_text().strip())
host, _, port = options.broker.rpartition(":")
client.connect(host, int(port))
client.loop_forever()
