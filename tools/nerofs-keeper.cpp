#include "mount/keeper/keeper_process.h"

// Started by nerofs itself, with its channel as descriptor 3.
int main() {
    return nerofs::mount::keeper_main(3);
}
