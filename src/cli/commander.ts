/** The classes of Commander, by `require`: it is CommonJS, which `import` reads twice, and the command line is to answer at once. */
import { createRequire } from 'node:module'
import type * as Commander from 'commander'

// What the package gives is what its types say.
export const commander = createRequire(import.meta.url)('commander') as typeof Commander
