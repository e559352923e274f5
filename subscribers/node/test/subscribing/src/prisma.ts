import { PrismaPg } from "@prisma/adapter-pg";

import { database } from "./pool.js";

export const adapter = new PrismaPg(database); // new PrismaClient({ adapter })
