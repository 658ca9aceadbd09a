/** The `everpod` command itself, so that it can be built like the other children. */
import '../../../src/cli/main.ts';
