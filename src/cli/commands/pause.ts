import type { Command } from 'commander'
import { definePause } from '../pause-command.js'

export const define = (command: Command): void => definePause(command, 'pause')
