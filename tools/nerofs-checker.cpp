#include "fetch/checker_process.h"

// Started by nerofs itself, with its channel as descriptor 3.
int main() {
    return nerofs::fetch::checker_main(3);
}
