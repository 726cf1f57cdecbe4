<?php $table_prefix = 'blog_';
