/* SPDX-License-Identifier: GPL-2.0-only */
/* The ioctls of /dev/hpcvm-importer; each returns a number or an errno. */
#ifndef IMPORTER_H
#define IMPORTER_H

#define IMPORTER_TAKE _IO('I', 0)	/* import this fd, and be able to let go; its entries */
#define IMPORTER_HOLD _IO('I', 1)	/* import it, and be unable to */
#define IMPORTER_MAP _IO('I', 2)	/* map it anew */
#define IMPORTER_TOLD _IO('I', 3)	/* how often it was told to let go */
#define IMPORTER_LONGEST _IO('I', 4)	/* the pages of its longest entry */

#define IMPORTER_CAN_BE_TOLD _IO('I', 5)	/* does this kernel tell importers anything? */

#endif
