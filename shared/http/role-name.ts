import { z } from 'zod';

export const RoleName = z
  .string()
  .regex(/^[a-z][a-z0-9_-]{0,39}$/, 'a role is 1–40 characters of a–z, 0–9, "_" and "-"');
