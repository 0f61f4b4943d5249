/** Contract of a serializer: values to bytes and back, by a name and a content type (kombu/serialization.py). */
export interface Serializer {
  readonly name: string
  readonly contentType: string
  readonly contentEncoding: 'utf-8' | 'binary'
  /** Throws EncodeError with the path of the value, starting at `root` (such as `args`, `result`). */
  encode(value: unknown, root: string): string | Uint8Array
  /** Throws DecodeError. Never runs code, never resolves a name. */
  decode(data: string | Uint8Array): unknown
}
