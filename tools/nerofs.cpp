#include "commands/commands.h"

int main(int argc, char** argv) {
    return nerofs::commands::guarded_main(argc, argv, nerofs::commands::run_nerofs);
}
