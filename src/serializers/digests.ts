/** What a signature can be made of, in Celery's names. MD5 and SHA-1 are none of them. */
export const digests = ['sha256', 'sha384', 'sha512', 'sha224', 'sha3_256', 'sha3_384', 'sha3_512'] as const
