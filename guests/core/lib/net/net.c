/* A network stack in name only. */
const int mini_net_sockets = CONFIG_LIBNET_SOCKETS;
