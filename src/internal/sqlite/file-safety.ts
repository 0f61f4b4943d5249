/**
 * Who may touch the embedded database. It holds code's input (task names and arguments), so another user who can write it can run tasks as us:
 * it is created for its owner only, and refused when somebody else could have made or changed it.
 */
import { closeSync, constants, fchmodSync, lstatSync, mkdirSync, openSync, readFileSync, type Stats, statfsSync } from 'node:fs'
import { dirname } from 'node:path'
import { ConnectionError, UnsafeFileError } from '../../errors.js'

/** Makes the directory (0700) and the file (0600) if they are missing, whatever the umask, or throws UnsafeFileError. */
export function prepareDatabaseFile(path: string, { allowNetwork }: { readonly allowNetwork: boolean }): void {
  const directory = dirname(path)
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
  } catch (cause) {
    // A symbolic link that points nowhere, or a file in the way, is told below in clearer words.
    if (lstatIfThere(directory) === undefined)
      throw new ConnectionError(`the directory ${directory} of the embedded database cannot be made`, { cause })
  }
  checkOwnership(directory, 'directory')
  if (!allowNetwork) refuseNetworkFileSystem(directory)
  preparePrivateFile(path)
  // SQLite makes these with the mode of the database; one that is there already may be somebody else's.
  for (const suffix of ['-wal', '-shm']) if (lstatIfThere(`${path}${suffix}`) !== undefined) checkOwnership(`${path}${suffix}`, 'file')
}

/** Makes an empty file of mode 0600, or checks the one that is there. */
export function preparePrivateFile(path: string): void {
  // An existing file is looked at, never opened and closed: closing any descriptor of a database file drops this process's locks on it.
  if (lstatIfThere(path) === undefined) {
    try {
      const descriptor = openSync(path, constants.O_CREAT | constants.O_EXCL | constants.O_RDWR | (constants.O_NOFOLLOW ?? 0), 0o600)
      fchmodSync(descriptor, 0o600)
      closeSync(descriptor)
    } catch (cause) {
      // Made by another process of ours in between: checked below like any other.
      if (!isCode(cause, 'EEXIST')) throw new ConnectionError(`the file ${path} cannot be made`, { cause })
    }
  }
  checkOwnership(path, 'file')
}

function checkOwnership(path: string, kind: 'file' | 'directory'): void {
  const stats = lstatSync(path)
  if (stats.isSymbolicLink()) {
    throw new UnsafeFileError(
      `refusing ${path}: it is a symbolic link, which another user could point elsewhere. Name the real ${kind} in the URL.`,
    )
  }
  if (kind === 'file' ? !stats.isFile() : !stats.isDirectory()) throw new UnsafeFileError(`refusing ${path}: it is not a ${kind}`)
  // Windows has no owners and modes of this kind.
  if (process.getuid === undefined) return
  const uid = process.getuid()
  // Root may own the directory (it could change anything anyway), but a database of root's would not be writable for us.
  if (stats.uid !== uid && !(kind === 'directory' && stats.uid === 0)) {
    throw new UnsafeFileError(
      `refusing ${path}: it belongs to the user with id ${stats.uid}, and this process runs as ${uid}. Run: chown ${uid} ${path}`,
    )
  }
  if ((stats.mode & 0o022) !== 0) {
    const advice = kind === 'file' ? `Run: chmod 600 ${path}` : `Run: chmod go-w ${path}, or put the database in a directory of its own`
    throw new UnsafeFileError(`refusing ${path}: other users may write to it (mode ${(stats.mode & 0o7777).toString(8)}). ${advice}`)
  }
}

// statfs(2): file systems on which SQLite's locks and shared memory do not work between hosts, or at all.
const networkFileSystems: ReadonlyMap<number, string> = new Map([
  [0x6969, 'nfs'],
  [0x517b, 'smb'],
  [0xff534d42, 'cifs'],
  [0xfe534d42, 'smb2'],
  [0x5346414f, 'afs'],
  [0x01021997, '9p'],
])
const fuse = 0x65735546

/** Its name, where the directory is on one that SQLite's locks do not work on. */
export function networkFileSystemOf(directory: string): string | undefined {
  const type = statfsSync(directory).type
  // Some platforms give the magic number as a signed one.
  return networkFileSystems.get(type >>> 0) ?? (type >>> 0 === fuse && isSshfs(directory) ? 'sshfs' : undefined)
}

function refuseNetworkFileSystem(directory: string): void {
  const name = networkFileSystemOf(directory)
  if (name === undefined) return
  throw new UnsafeFileError(
    `refusing ${directory}: it is on a network file system (${name}), where the locks of the embedded database do not hold. ` +
      'Use a local disk, or a broker such as Redis for more than one host. (?network=allow in the URL overrides this.)',
  )
}

/** Many FUSE file systems are local; the mount table tells which one this is. */
function isSshfs(directory: string): boolean {
  let mounts: string
  try {
    mounts = readFileSync('/proc/self/mounts', 'utf8')
  } catch {
    return false
  }
  let longest = { point: '', type: '' }
  for (const line of mounts.split('\n')) {
    const [, point = '', type = ''] = line.split(' ')
    const inside = directory === point || directory.startsWith(point.endsWith('/') ? point : `${point}/`)
    if (inside && point.length >= longest.point.length) longest = { point, type }
  }
  return longest.type === 'fuse.sshfs'
}

function lstatIfThere(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false })
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
