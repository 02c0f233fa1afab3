#include "serve/server_process.h"

// Started by nerofs itself, with its channel as descriptor 3.
int main() {
    return nerofs::serve::server_main(3);
}
