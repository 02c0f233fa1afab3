#include "fetch/fetcher_process.h"

// Started by nerofs itself, with its channel as descriptor 3.
int main() {
    return nerofs::fetch::fetcher_main(3);
}
