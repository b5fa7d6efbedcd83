/** Every bound of the records store and its import, named; the agent's configuration may lower or raise them. */
export interface ImportLimits {
  /** One NDJSON line, decompressed. Notes travel inside resources, so this is generous. */
  readonly lineBytesMax: number;
  /** One JSON document (a bundle, a manifest), decompressed; it is parsed whole. */
  readonly documentBytesMax: number;
  /** One file, decompressed. */
  readonly fileBytesMax: number;
  /** Decompressed bytes per compressed byte, checked once `gzipRatioFromBytes` have come out. Gzip itself ends near 1030. */
  readonly gzipRatioMax: number;
  readonly gzipRatioFromBytes: number;
  /** Nesting of objects and arrays in one resource; real resources stay under 20. */
  readonly depthMax: number;
  /** Resources and JSON bytes that one atomic write carries. */
  readonly batchResourcesMax: number;
  readonly batchBytesMax: number;
  /** Problems kept word for word; the rest are counted. */
  readonly problemsKeptMax: number;
  /** Different unknown type names counted by name. */
  readonly unknownTypesMax: number;
  readonly filesMax: number;
  readonly folderDepthMax: number;
}

const MEBIBYTE = 1024 * 1024;

export const IMPORT_LIMITS: ImportLimits = {
  lineBytesMax: 16 * MEBIBYTE,
  documentBytesMax: 64 * MEBIBYTE,
  fileBytesMax: 64 * 1024 * MEBIBYTE,
  gzipRatioMax: 200,
  gzipRatioFromBytes: 16 * MEBIBYTE,
  depthMax: 64,
  batchResourcesMax: 500,
  batchBytesMax: 4 * MEBIBYTE,
  problemsKeptMax: 200,
  unknownTypesMax: 100,
  filesMax: 100_000,
  folderDepthMax: 16,
};

/** Patients with a `Patient.link`, held in memory (about 100 bytes each) while a cohort is counted. */
export const LINKED_PATIENTS_MAX = 1_000_000;
