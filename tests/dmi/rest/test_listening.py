import socket

from dmi.rest.serving import listen


def test_answers_are_not_held_back_to_be_joined():
    listener, address = listen("127.0.0.1:0")
    port = int(address.rpartition(":")[2])
    with listener, socket.create_connection(("127.0.0.1", port)):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
