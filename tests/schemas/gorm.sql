CREATE TABLE `products` (`id` integer PRIMARY KEY AUTOINCREMENT,`created_at` datetime,`deleted_at` datetime,`code` text,`price` integer DEFAULT 18,CONSTRAINT `chk_products_code` CHECK (code <> ''),CONSTRAINT `uni_code` UNIQUE (`code`));
CREATE INDEX `idx_products_deleted_at` ON `products`(`deleted_at`);
CREATE UNIQUE INDEX `idx_live` ON `products`(`code`) WHERE deleted_at IS NULL;
